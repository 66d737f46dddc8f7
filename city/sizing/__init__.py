"""How large a machine an institution wants: the specification's advice, and what our own measurements say."""
