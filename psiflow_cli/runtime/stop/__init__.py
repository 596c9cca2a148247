"""How a command is asked to end in order: signals, its deadline, `psiflow cancel`. Nothing that ends workers."""
