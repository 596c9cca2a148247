"""What users type as values: numbers with units, shares, names, and the kinds of options that read them."""
