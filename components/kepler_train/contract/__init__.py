"""What passes through the doors between the steps: features, tables, documents, held-out blocks, errors.

This room imports no other room. Everything a step reads or writes is described here once, and here only.
"""
