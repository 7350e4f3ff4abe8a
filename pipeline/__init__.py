"""What SageMaker runs: the pipeline's definition, its processing script, and how it is put there."""
