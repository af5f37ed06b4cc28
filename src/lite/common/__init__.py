"""What the recipes of the three models share. Their programs run with src/lite on the path:

    PYTHONPATH=src/lite python3 -m front.train --help
"""
