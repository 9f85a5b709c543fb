import utils as utils  # says what to do if a package is missing, before another import fails
