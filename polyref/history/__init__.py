"""The history: the grades and verdicts of many audits, over time and versions, in one SQLite file.

``schema`` says what the file holds, ``store`` opens it, ``runs`` writes it, and ``series`` reads out of it what moved.
"""
