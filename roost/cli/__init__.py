"""What a person types and reads: a module per group of tasks, the parser, the terminal, all rendering."""
