import utils as utils  # checks on import that all packages are installed; so it comes before any other import
