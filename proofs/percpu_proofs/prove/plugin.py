"""The plugin that CrossHair's command is given: `crosshair check --extra_plugin THIS_FILE ...`.

CrossHair runs this text where it has read its command line into `options`.
"""

from percpu_proofs.prove.small.crosshair_command import install

install(locals().get("options"))
