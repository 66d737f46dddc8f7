"""`python -m city` is `jiesuan`."""

from city.cli import main

main()
