"""Golden vectors: exact inputs with certified answers, each there to catch a defect that it was seen to catch.

``specs`` says which losses, ``draw`` which inputs, ``results`` what is exact, ``rivals`` who is wrong and where,
``choose`` which of it is kept, ``schema`` how it is written, and ``make`` does all of this. ``answers`` reads what a
program says, ``check`` grades it.
"""
