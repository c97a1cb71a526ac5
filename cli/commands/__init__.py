"""The subcommands of `ml-service`, a module a panel of its help; each calls the module that does the work."""
