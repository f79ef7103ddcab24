"""The command line: one small file a command; it parses and prints, the rooms below compute."""
