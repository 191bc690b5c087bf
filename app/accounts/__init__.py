"""Who calls, what they may do, and what they owe: the words that the service layer reads aloud.

Here are the names and what holds without a database; `app/storage` and `app/limits` hold the rest.
"""
