"""`python -m enginesmith`: the command line."""

from enginesmith.pipeline.cli.app import main

if __name__ == "__main__":
    main()
