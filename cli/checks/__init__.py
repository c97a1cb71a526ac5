"""What `ml-service doctor` looks at, a module a subject. A check changes nothing and starts nothing that stays."""
