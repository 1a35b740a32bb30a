"""lopsided: study the asymmetry between perceptual optimization and perceptual assessment.

Sub-packages (each imports only those to its right):
``experiments → iqa, sr → discriminators, losses → backbones → common``; ``analysis`` stands alone.
"""

__version__ = "0.1.0"
