import keras
import numpy as np
import pytest
import tensorflow as tf

from training.models import classifier
from training.recipes import RECIPES, choose_recipe

SMALL = {"backbone": "EfficientNetB0"}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).integers(0, 256, (2, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(2)
    built = classifier.build_model(choose_recipe("v1.3", SMALL))
    # Change the initial statistics, with which all features are similar and small.
    for layer in built.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean, variance * 0.8])
    return built


def test_b4_is_the_papers_model():
    built = classifier.build_model(RECIPES["v1.3"])
    # Keras counts 17,673,823, seven of them in the layer that scales its input.
    assert built.count_params() == 17_673_823 + 1792 + 1
    assert [type(each).__name__ for each in built.layers[-2:]] == [
        "GlobalAveragePooling2D",
        "Dense",
    ]


def test_a_seed_gives_the_same_weights_and_the_spread_that_keras_gives():
    built = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        built.append(classifier.build_model(choose_recipe("v1.3", SMALL)))
    first, again, other = (each.get_layer("top_conv").get_weights()[0] for each in built)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    keras.utils.set_random_seed(1)
    stock = keras.applications.EfficientNetB0(weights=None, include_top=False)
    for layer in stock.layers:
        for name in {"kernel_initializer", "depthwise_initializer"} & layer.get_config().keys():
            named = built[0].get_layer(layer.name).get_config()
            assert named[name] == layer.get_config()[name]
    for name in ("stem_conv", "block2a_dwconv", "block4a_se_reduce", "top_conv"):
        ours, theirs = (np.asarray(each.get_layer(name).weights[0]) for each in (built[0], stock))
        assert ours.std() == pytest.approx(theirs.std(), rel=0.1)
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.1)
    head = np.asarray(built[0].get_layer(classifier.HEAD_LAYER).weights[0])
    assert np.abs(head).max() == pytest.approx(np.sqrt(6 / (1280 + 1)), rel=0.02)


def test_the_first_step_is_traced_once(network, images, monkeypatch):
    classifier.compile_model(network, choose_recipe("v1.3", SMALL), head_only=True, steps=1)
    traces, step = [], network.train_step
    monkeypatch.setattr(network, "train_step", lambda data: traces.append(1) or step(data))
    network.fit(images, np.ones(2), verbose=0)
    assert len(traces) == 1


def test_one_number_an_image_between_zero_and_one(network, images):
    scores = network.predict(images, verbose=0)
    assert scores.shape == (2, 1)
    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_input_scale_and_output_stay_float32(images, precision):
    built = classifier.build_model(choose_recipe("v1.3", SMALL), precision=precision)
    scaled = keras.Model(built.input, built.get_layer("imagenet_scale").output)
    expected = (images / 255 - np.array(classifier.MEAN)) / np.array(classifier.STD)
    assert np.abs(np.asarray(scaled(images)) - expected).max() < 1e-5
    assert built.get_layer("stem_conv").compute_dtype == precision.removeprefix("mixed_")
    assert built.output.dtype == "float32"
    classifier.compile_model(built, choose_recipe("v1.3", SMALL), head_only=False, steps=1)
    scaled_loss = isinstance(built.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled_loss == (precision == "mixed_float16")


def test_the_logit_is_what_the_sigmoid_was_taken_of(network, images):
    logits = classifier.logit_model(network).predict(images, verbose=0)
    assert np.allclose(1 / (1 + np.exp(-logits)), network.predict(images, verbose=0), atol=1e-6)


def test_the_class_activation_is_grad_cam(network, images):
    """Compared with Grad-CAM computed by definition, from TensorFlow's gradient of the logit."""
    logit_model = classifier.logit_model(network)
    both = keras.Model(
        network.input, [network.get_layer(classifier.FEATURE_LAYER).output, logit_model.output]
    )
    with tf.GradientTape() as tape:
        features, logits = both(images)
        gradient = tape.gradient(logits, features)
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    grad_cam = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    ours = classifier.class_activation(
        network, classifier.feature_model(network).predict(images, verbose=0)
    )
    assert grad_cam.max() > 0
    assert np.allclose(ours / 49, grad_cam, rtol=1e-4, atol=1e-7 + 1e-5 * grad_cam.max())


def test_fine_tuning_freezes_first_the_backbone_then_its_first_blocks_and_all_batchnorm(network):
    recipe = choose_recipe("fine-tune", SMALL)
    classifier.set_trainable_layers(network, recipe, head_only=True)
    assert [each.path for each in network.trainable_variables] == [
        f"{classifier.HEAD_LAYER}/kernel",
        f"{classifier.HEAD_LAYER}/bias",
    ]
    classifier.set_trainable_layers(network, recipe, head_only=False)
    training = {layer.name for layer in network.layers if layer.weights and layer.trainable}
    assert {"block3a_expand_conv", "top_conv", classifier.HEAD_LAYER} <= training
    assert not training & {"stem_conv", "block2b_expand_conv", "block3a_bn", "top_bn"}
    classifier.set_trainable_layers(network, choose_recipe("v1.3", SMALL), head_only=False)
    assert all(layer.trainable for layer in network.layers)


def test_a_cosine_ends_at_zero(network):
    recipe = choose_recipe("fine-tune", SMALL)
    classifier.compile_model(network, recipe, head_only=False, steps=10)
    schedule = network.optimizer._learning_rate
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(10)) == pytest.approx(0, abs=1e-8)
