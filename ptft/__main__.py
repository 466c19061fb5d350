"""`python -m ptft` is `ptft`."""

from ptft.cli import main

if __name__ == "__main__":
    main()
