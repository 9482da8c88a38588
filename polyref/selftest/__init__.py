"""The self-test: are the laws able to fail, and do they fail nobody who is right?

Every law is tried on every mutant and on every harmless variant, in every format. This is the one package of polyref
that knows ``polyref_properties``: mutants are what the laws themselves are tested with.
"""
