"""Big bodies in constant memory: where they wait, and JSON that is read and written around them."""
