"""The tests: `unit` and `contracts` touch nothing, `integration` and `acceptance` use real servers, `bench`
measures.
"""
