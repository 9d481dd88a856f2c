"""`python -m keras_simclr` is the command line."""

from keras_simclr.cli import main

if __name__ == "__main__":
    main()
