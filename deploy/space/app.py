"""A Hugging Face Space that shows where a model looks."""

import camcore.app

# A network that needs no download; name your own in its place.
page = camcore.app.build("demo-torch:efficientnet_lite0")

if __name__ == "__main__":
    page.launch()
