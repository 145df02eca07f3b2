"""PreRNN in JAX and Flax: the last layers of a pre-trained CNN made recurrent."""
