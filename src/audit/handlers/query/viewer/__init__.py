"""The viewer: pages on which a tenant's admins look at its events, opened by a link that the vendor's backend makes."""
