"""Python imports this by itself when it starts, if the folder is on PYTHONPATH."""

from aws_calls import install  # type: ignore[import-not-found]  # it lies beside this file

install()
