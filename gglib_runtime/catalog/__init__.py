"""The catalog in SQL: the tables, how they come to be, and who reads and writes them.

Nothing is imported here: SQLAlchemy costs 160 ms, and only who opens a database should pay it.
"""
