"""What AWS and DNS put in front of the cells: product hosts, HTTP API endpoints, their metrics, POST policies."""
