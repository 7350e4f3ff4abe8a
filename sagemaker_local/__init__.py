"""SageMaker on one machine: an HTTP service for boto3 and the aws command line.

It runs pipeline definitions for real (each job is a process of its own), keeps model packages, models and endpoints,
and serves InvokeEndpoint. Requests and answers follow botocore's own service model.
"""

__version__ = "0.1.0"
