"""The command ``camcore compare``: models, recipes or methods on the same photographs."""
