"""The command ``camcore explain``: one photograph, many, or a video."""
