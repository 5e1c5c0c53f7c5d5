"""The program as a module: how `mercato up` starts its children, whatever is on the PATH."""

from mercato.cli.main import main

main()
