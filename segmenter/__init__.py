"""Semantic segmentation as a SageMaker algorithm container: `python -m segmenter train` and `... serve`.

The contract (channels, hyperparameter names, request and response formats) is that of SageMaker's built-in
`semantic-segmentation`; the network is a light one that learns from a few images on a CPU.
"""
