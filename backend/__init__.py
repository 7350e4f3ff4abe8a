"""Label Studio ML backend for Amazon SageMaker: the service that Label Studio talks to."""

__version__ = "0.1.0"
