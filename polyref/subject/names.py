"""The names that published code gives to things (design section 6): all in lower case, the most telling first."""

from __future__ import annotations

from typing import Any

#: polyref's name of a parameter -> the names in use.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "num_classes": (
        *("num_classes", "class_number", "n_classes", "nb_classes", "classes"),
        *("num_class", "class_num", "n_class", "number_of_classes", "num_labels", "nclasses"),
    ),
    "epsilon": (
        *("epsilon", "eps", "eps1", "poly_alpha", "poly_epsilon", "poly_eps", "epsilon1", "epsilon_1", "eps_1"),
        *("poly1_epsilon", "polyloss_epsilon", "poly_loss_epsilon", "polyloss_eps", "poly1_eps", "eps_poly"),
        *("epsilons", "eps_list", "epsilon_list", "poly_epsilons"),
    ),
    "terms": ("n", "n_terms", "num_terms", "terms", "order", "poly_n"),
    "gamma": ("gamma", "focal_gamma"),
    "alpha": ("alpha", "focal_alpha"),
    "reduction": (
        *("reduction", "reduction_override", "reduce", "size_average", "average", "averaged", "average_loss"),
        *("per_sample", "per_example", "per_element", "reduction_type", "reduce_mean"),
    ),
    "weight": ("weight", "weights", "class_weight", "class_weights", "ce_weight", "cls_weight"),
    "smoothing": ("label_smoothing", "smoothing"),
    "ignore_index": ("ignore_index", "ignore_label"),
}
#: Flags that stand for a reduction: what each reduction sets them to.
REDUCING = {"none": (False,), "sum": (False,), "mean": (True,)}
#: The same for flags that ask for a loss of every sample.
SPREADING = {"none": (True,), "sum": (False,), "mean": (False,)}
SPREADING_NAMES = ("per_sample", "per_example", "per_element")
#: The same for a flag that does not say how it reduces.
EITHER = {"none": (False,), "sum": (True,), "mean": (True,)}
#: What a parameter is set to that takes a word.
REDUCTION_WORDS: dict[str, tuple[Any, ...]] = {
    "none": ("none", None, "NONE", "None", "no"),
    "sum": ("sum", "SUM", "Sum", "reduce_sum"),
    "mean": ("mean", "MEAN", "Mean", "batchmean", "avg", "average", "elementwise_mean", "reduce_mean"),
}
LOGITS = (
    *("logits", "logit", "x", "input", "inputs", "pred", "preds", "prediction", "predictions", "y_pred", "output"),
    *("outputs", "y_hat", "yhat", "score", "scores", "prob", "probs", "probabilities", "input_", "logits_", "z"),
    *("cls_score", "predict", "predicts", "predicted", "ypred", "out", "raw", "y_logits", "logits_pred"),
    *("log_probs", "log_prob", "logprobs", "log_probabilities", "log_p", "logp", "proba", "probas", "p"),
)
LABELS = (
    *("labels", "label", "y", "target", "targets", "y_true", "gt", "truth", "true", "ground_truth", "one_hot"),
    *("onehot", "labels_onehot", "y_onehot", "target_", "labels_", "t", "q", "ytrue", "gts", "gt_label", "gt_labels"),
    *("trues", "actual", "dtrain", "train_data", "dataset"),
)
#: Names that leave no doubt about what is handed over.
PLAIN_LOGITS = ("logits", "logit", "logits_", "y_logits", "logits_pred")
PROBABILITIES = ("prob", "probs", "probabilities", "proba", "probas", "p")
LOG_PROBABILITIES = ("log_probs", "log_prob", "logprobs", "log_probabilities", "log_p", "logp")
#: Flags that say what the inputs are; the probe turns one where logits do not go through as logits.
FLAGS = (
    *("from_logits", "logits", "use_logits", "is_logits", "with_logits", "input_logits", "use_softmax"),
    *("apply_softmax", "softmax", "use_sigmoid", "apply_sigmoid", "sigmoid", "use_activation", "apply_activation"),
    *("from_probs", "from_probabilities", "is_prob", "is_probs", "probs", "normalized", "normalised", "is_log_prob"),
)
#: Parameters that name what turns logits into probabilities.
ACTIVATIONS = ("activation", "act", "activation_fn", "mode")
#: An object with ``get_label()``, as boosting libraries hand labels over.
DATASETS = ("dtrain", "train_data", "dataset")
