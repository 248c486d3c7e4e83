"""Recipes: a whole benchmark from one file, a list of commands whose outputs are one another's inputs.

``curate/recipes/NAME.yaml`` are those of the package. A recipe names the raw downloads that it needs (``roots``) and
its ``steps``, each a command with its options as ``curate`` has them, and its inputs by the names of earlier steps::

    title: Small objects of KITTI
    roots:
      kitti: KITTI's object detection, unpacked
    steps:
      - name: kitti
        command: import kitti
        root: kitti
      - name: small
        command: build subset
        inputs: kitti
        options: {size: "<0.15", class: [Car, Van]}
      - name: small.json
        command: export coco
        inputs: small

The output of a step has the step's name. ``reading`` and ``steps`` find what is wrong in a recipe, ``marks`` tell
whether an input changed, ``running`` does what is not done yet. Which options the commands have, and what they do, the
command line tells (:class:`curate.recipe.steps.Commands`): this room knows no command line.
"""
