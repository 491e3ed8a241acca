"""What runs a network: Keras, LiteRT, another worker's GPU."""
