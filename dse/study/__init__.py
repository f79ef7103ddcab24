"""The record of a study and its files: every one of them is written and read here."""
