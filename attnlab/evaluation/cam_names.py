"""The class activation maps and similar maps that attnlab.look can draw. Imports no torch."""

DEFAULT_CAMS = ("gradcam", "hirescam")
#: name -> its class in grad-cam's package
BY_GRAD_CAM = {
    "gradcam++": "GradCAMPlusPlus", "layercam": "LayerCAM", "xgradcam": "XGradCAM", "eigencam": "EigenCAM",
    "scorecam": "ScoreCAM",
}  # fmt: skip
CAMS = (*DEFAULT_CAMS, "ablationcam", "occlusion", "saliency", "integrated_gradients", *BY_GRAD_CAM)
#: name -> heading of its column
HEADINGS = {
    "gradcam": "Grad-CAM", "hirescam": "HiResCAM", "ablationcam": "Ablation-CAM", "integrated_gradients":
    "integrated gradients", "gradcam++": "Grad-CAM++", "layercam": "Layer-CAM", "xgradcam": "XGrad-CAM",
    "eigencam": "Eigen-CAM", "scorecam": "Score-CAM",
}  # fmt: skip
