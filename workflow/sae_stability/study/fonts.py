"""Warns of labels that figures cannot show as they are. Apart from the checks: it needs Matplotlib."""

from sae_stability.study.build import Study


def without_font(study: Study) -> list[str]:
    """A line for each label of a figure with characters that no installed font has: pictures show boxes for them."""
    labels = dict.fromkeys(label for figure in study.figures.values() for label, _ in figure.inputs)
    unusual = [label for label in labels if not label.isascii()]
    if not unusual:
        return []
    from sae_stability.figures.drawings.style import without_font  # late: it takes a second

    notes = []
    for label in unusual:
        if boxes := without_font(label):
            notes.append(
                f"figures: no installed font has {' '.join(boxes)} of the label {label}: PDF and PNG will show boxes; "
                "install a font that has them, or choose another label"
            )
    return notes
