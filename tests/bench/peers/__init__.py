"""Other job systems, measured on the same servers and at the same work as Penstock.

Each has an environment of its own, made once with the versions of `catalogue`, and one program below `programs`. The
work is one row of 256 characters, inserted by asyncpg or psycopg2 and committed. Each is set up as its documentation
advises for throughput, with the durability that it has by default or better.
"""
