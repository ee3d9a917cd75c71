"""How the weights of toybox were made. Nothing that the product runs imports this."""
