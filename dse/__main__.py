"""`python -m dse`: the command line, where no script is on the path."""

from dse.cli.main import main

main()
