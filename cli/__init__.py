"""Everything behind the `ml-service` command: building the archive, running the service, operator tasks."""
