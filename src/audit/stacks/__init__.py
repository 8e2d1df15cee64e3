"""The Pulumi program of the audit product: one stack a service and cell."""
