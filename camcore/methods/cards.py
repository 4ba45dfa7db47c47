"""What a person wants to know of each method: its formula, when to use it, how to cite it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from camcore.methods.table import Method, description


@dataclass(frozen=True)
class Reference:
    """Where a method was published.

    Parameters
    ----------
    key : str
        What BibTeX calls it by.
    authors : str
        As BibTeX has them; the rest are "others" where not all are known for certain.
    title : str
        As it was published.
    venue : str
        Of a conference, the proceedings; of an article, the journal; of a program, its address.
    year : int or None
        None where it bears none.
    arxiv : str or None
        Its number there.
    kind : {"inproceedings", "article", "misc"}
        BibTeX's name for what it is.
    """

    key: str
    authors: str
    title: str
    venue: str = ""
    year: int | None = None
    arxiv: str | None = None
    kind: str = "inproceedings"

    @property
    def bibtex(self) -> str:
        """The entry, a field on each line."""
        where = {"inproceedings": "booktitle", "article": "journal", "misc": "howpublished"}
        at = self.venue if self.kind != "misc" else self.venue and rf"\url{{{self.venue}}}"
        fields = {
            "title": f"{{{self.title}}}",
            "author": self.authors,
            where[self.kind]: at,
            "year": None if self.year is None else str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": None if self.arxiv is None else "arXiv",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


@dataclass(frozen=True)
class Card:
    """What is said of a method.

    Parameters
    ----------
    use : str
        When to use it, and when not.
    reference : Reference or None
        None where no paper is about it.
    formula : str
        Of A, the layer's output, and g, the score's gradient there; empty where the first line
        of the function's docstring has it.
    """

    use: str
    reference: Reference | None
    formula: str = ""


def _arxiv(key: str, authors: str, title: str, number: str) -> Reference:
    """Refer to what is on arXiv alone, whose number begins with the year and month."""
    return Reference(key, authors, title, "", 2000 + int(number[:2]), number, "misc")


_GRADCAM = Reference(
    "selvaraju2017gradcam",
    "Selvaraju, Ramprasaath R. and Cogswell, Michael and Das, Abhishek and Vedantam, Ramakrishna "
    "and Parikh, Devi and Batra, Dhruv",
    "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    "Proceedings of the IEEE International Conference on Computer Vision (ICCV)",
    2017,
    "1610.02391",
)
_INTEGRATED_GRADIENTS = Reference(
    "sundararajan2017axiomatic",
    "Sundararajan, Mukund and Taly, Ankur and Yan, Qiqi",
    "Axiomatic Attribution for Deep Networks",
    "International Conference on Machine Learning (ICML)",
    2017,
    "1703.01365",
)
_ZEILER = Reference(
    "zeiler2014visualizing",
    "Zeiler, Matthew D. and Fergus, Rob",
    "Visualizing and Understanding Convolutional Networks",
    "European Conference on Computer Vision (ECCV)",
    2014,
    "1311.2901",
)
_PYTORCH_GRAD_CAM = Reference(
    "jacobgilpytorchcam",
    "Jacob Gildenblat and contributors",
    "PyTorch library for CAM methods",
    "https://github.com/jacobgil/pytorch-grad-cam",
    2021,
    kind="misc",
)

CARDS: Final[Mapping[str, Card]] = {
    "cam": Card(
        "For networks that end in global average pooling and one linear layer: the class's own "
        "share of every place, exactly. Elsewhere it is not defined; take Grad-CAM.",
        Reference(
            "zhou2016cam",
            "Zhou, Bolei and Khosla, Aditya and Lapedriza, Agata and Oliva, Aude and Torralba, "
            "Antonio",
            "Learning Deep Features for Discriminative Localization",
            "Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
            2016,
            "1512.04150",
        ),
    ),
    "gradcam": Card(
        "The first one to try: any differentiable score, one pass. Gradients are averaged over "
        "space, so that it may point at places that the score does not use; HiResCAM does not.",
        _GRADCAM,
    ),
    "gradcampp": Card(
        "Where a class is there several times and Grad-CAM shows one of them. Its weights are "
        "never negative, so that evidence against the class is hardly seen.",
        Reference(
            "chattopadhay2018gradcampp",
            "Chattopadhay, Aditya and Sarkar, Anirban and Howlader, Prantik and Balasubramanian, "
            "Vineeth N.",
            "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional "
            "Networks",
            "IEEE Winter Conference on Applications of Computer Vision (WACV)",
            2018,
            "1710.11063",
        ),
    ),
    "xgradcam": Card(
        "Where a map is to add up to what the layer contributes, Σ g · A, and still be a weighted "
        "sum of channels, as Grad-CAM's is.",
        Reference(
            "fu2020xgradcam",
            "Fu, Ruigang and Hu, Qingyong and Dong, Xiaohu and Guo, Yulan and Gao, Yinghui and "
            "Li, Biao",
            "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
            "British Machine Vision Conference (BMVC)",
            2020,
            "2008.02312",
        ),
    ),
    "hirescam": Card(
        "Where the map has to show what the score is made of: under a linear head it sums to the "
        "score less its bias. Noisier than Grad-CAM at early layers.",
        _arxiv(
            "draelos2020hirescam",
            "Draelos, Rachel Lea and Carin, Lawrence",
            "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural "
            "networks",
            "2011.08891",
        ),
    ),
    "elementwisegradcam": Card(
        "As HiResCAM, with what speaks against the class dropped channel by channel, so that it "
        "cannot cancel what speaks for it.",
        _PYTORCH_GRAD_CAM,
    ),
    "layercam": Card(
        "For earlier, finer layers, and several of them joined: details of an object rather than "
        "its region.",
        Reference(
            "jiang2021layercam",
            "Jiang, Peng-Tao and Zhang, Chang-Bin and Hou, Qibin and Cheng, Ming-Ming and Wei, "
            "Yunchao",
            "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
            "IEEE Transactions on Image Processing (TIP)",
            2021,
            kind="article",
        ),
    ),
    "segxrescam": Card(
        "For a region of a segmentation: it keeps to places, as HiResCAM does, with gradients "
        "steadied over small windows.",
        Reference(
            "hasany2023segxrescam",
            "Hasany, Syed Nouman and others",
            "Seg-XRes-CAM: Explaining Spatially Local Regions in Image Segmentation",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR) Workshops",
            2023,
        ),
    ),
    "finercam": Card(
        "For classes that look alike, as species do: what tells the class from the three most "
        "like it. Needs several classes.",
        Reference(
            "zhang2025finercam",
            "Zhang, Ziheng and others",
            "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR)",
            2025,
            "2501.11309",
        ),
        "Grad-CAM of y_c − 0.6 · mean(y_d), d the 3 classes with the nearest scores",
    ),
    "counterfactual": Card(
        "Shows what lowers the score: what to take away for the class to be predicted more.",
        _GRADCAM,
        "Grad-CAM of −y: −Σ_c mean_s(g_c) · A_c",
    ),
    "refinecam": Card(
        "For several layers at once: the sharp edges of early ones, only where late ones agree. "
        "Of one layer it is Grad-CAM++.",
        _arxiv(
            "domeniconi2026refinecam",
            "Domeniconi, Luca and Stramiglio, Alessandra and Lombardi, Michele and Salti, Samuele",
            "How to Evaluate and Refine your CAM",
            "2605.14641",
        ),
        "product over layers of their Grad-CAM++ maps, or another base's, each in [0, 1]",
    ),
    "legrad": Card(
        "For transformers: attention itself, weighted by what raises the score; with an attention "
        "pooler (SigLIP, CoCa), also the pooler's alone. Not for attention within windows, as "
        "Swin's.",
        Reference(
            "bousselham2025legrad",
            "Bousselham, Walid and others",
            "LeGrad: An Explainability Method for Vision Transformers via Feature Formation "
            "Sensitivity",
            "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            2025,
            "2404.03214",
        ),
    ),
    "relevancy": Card(
        "Transformers: which patches the class token, a pooled output or a word is made of, "
        "through all blocks, for one class. Also from a detector's queries to the image.",
        Reference(
            "chefer2021generic",
            "Chefer, Hila and Gur, Shir and Wolf, Lior",
            "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder "
            "Transformers",
            "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            2021,
            "2103.15679",
        ),
    ),
    "rollout": Card(
        "Transformers, where no class is meant, or no gradient is to be had: what reaches the "
        "class token. The same for every class; take relevancy to tell classes apart.",
        Reference(
            "abnar2020rollout",
            "Abnar, Samira and Zuidema, Willem",
            "Quantifying Attention Flow in Transformers",
            "Annual Meeting of the Association for Computational Linguistics (ACL)",
            2020,
            "2005.00928",
        ),
    ),
    "tokencam": Card(
        "For a word that a vision-language model says: what its head makes of each image token. No "
        "gradient, so also of a model that only just fits into memory. Needs image tokens among "
        "the words; earlier words that show through are taken out by less=.",
        Reference(
            "li2025token",
            "Li, Yi and Wang, Hualiang and Ding, Xinpeng and Wang, Haonan and Li, Xiaomeng",
            "Token Activation Map to Visually Explain Multimodal LLMs",
            "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            2025,
            "2506.23270",
        ),
    ),
    "eigencam": Card(
        "Without a target: what stands out to the layer, whatever the class. Good where gradients "
        "cannot be had or are of little use; it does not tell classes apart.",
        Reference(
            "muhammad2020eigencam",
            "Muhammad, Mohammed Bany and Yeasin, Mohammed",
            "Eigen-CAM: Class Activation Map using Principal Components",
            "International Joint Conference on Neural Networks (IJCNN)",
            2020,
            "2008.00299",
        ),
    ),
    "eigengradcam": Card(
        "As Eigen-CAM, but for a class: the main direction of what it gains, with noise of single "
        "channels left out.",
        _PYTORCH_GRAD_CAM,
        "Eigen-CAM of g · A",
    ),
    "segeigencam": Card(
        "As EigenGrad-CAM, where what speaks against the class shows places as well, as in a "
        "segmentation: gradients count by their strength, place by place.",
        Reference(
            "chung2025segeigencam",
            "Chung, C.-T. and Ying, J. J.-C.",
            "Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic Segmentation Models",
            "Applied Sciences",
            2025,
            kind="article",
        ),
        "Eigen-CAM of |g| · A, positive where it is farthest from zero",
    ),
    "kpcacam": Card(
        "As Eigen-CAM, where what stands out is no straight direction in the space of channels. "
        "Without a target.",
        _arxiv(
            "karmani2024kpcacam",
            "Karmani, Sachin and Sivakaran, Thanushon and Prasad, Gaurav and Ali, Mehmet and "
            "Yang, Wenbo and Tang, Sheyang",
            "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA",
            "2410.00267",
        ),
    ),
    "fem": Card(
        "Without a target or gradient: places that many channels find unusual. A cheap second "
        "opinion beside Eigen-CAM.",
        Reference(
            "fuad2020fem",
            "Fuad, Kazi Ahmed Asif and others",
            "Features Understanding in 3D CNNs for Actions Recognition in Video",
            "International Conference on Image Processing Theory, Tools and Applications (IPTA)",
            2020,
        ),
        "Σ_c μ_c · [A_c > μ_c + 2σ_c]; or Σ_c w_c · A_c, w_c the share of places with "
        "A_c > μ_c + 2σ_c",
    ),
    "activations": Card(
        "A baseline: where the layer is active at all. A method that says no more than this has "
        "not explained the class.",
        None,
        "mean_c(A_c)",
    ),
    "random": Card(
        "A baseline for metrics: what any method has to beat.",
        None,
        "uniform in [0, 1), the same for every sample",
    ),
    "shapleycam": Card(
        "Where the score bends behind the layer, as with GELU or attention, and a gradient alone "
        "tells only of small changes; or where the target does, as Class(c) + LogProbability(c), "
        "which its paper explains. Of a class alone and behind ReLU alone it is Grad-CAM.",
        _arxiv(
            "cai2025shapleycam",
            "Cai, Huaiguang",
            "CAMs as Shapley Value-based Explainers",
            "2501.06261",
        ),
    ),
    "smoothgradcampp": Card(
        "Grad-CAM++ where gradients are noisy: maps of noisy inputs, averaged.",
        _arxiv(
            "omeiza2019smoothgradcampp",
            "Omeiza, Daniel and others",
            "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep "
            "Convolutional Neural Network Models",
            "1908.01224",
        ),
        "Σ_c w_c · A_c with w = Σ_s α · relu(ḡ), α = mean(g²) / (2 mean(g²) + Σ_s(A) · mean(g³)), "
        "means over noisy inputs",
    ),
    "scorecam": Card(
        "Without gradients: each channel counts by what the model says of the image seen through "
        "it. Slow at layers with many channels.",
        Reference(
            "wang2020scorecam",
            "Wang, Haofan and Wang, Zifan and Du, Mengnan and Yang, Fan and Zhang, Zijian and "
            "Ding, Sirui and Mardziel, Piotr and Hu, Xia",
            "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR) Workshops",
            2020,
            "1910.01279",
        ),
    ),
    "fasterscorecam": Card(
        "Score-CAM where the layer has hundreds of channels: ten passes, of the ten channels that "
        "vary most over space.",
        Reference(
            "tabayashi0117scorecam",
            "tabayashi0117",
            "Score-CAM",
            "https://github.com/tabayashi0117/Score-CAM",
            kind="misc",
        ),
        "Score-CAM of the 10 channels with the largest variance over space",
    ),
    "gscorecam": Card(
        "Score-CAM at layers of thousands of channels, as CLIP's: only those that the gradient "
        "says matter to the score are tried.",
        Reference(
            "chen2022gscorecam",
            "Chen, Peijie and Li, Qi and Biaz, Saad and Bui, Trung and Nguyen, Anh",
            "gScoreCAM: What Objects Is CLIP Looking At?",
            "Asian Conference on Computer Vision (ACCV)",
            2022,
        ),
    ),
    "polycam": Card(
        "A map nearly as fine as the photograph: what the last layer finds, drawn within its "
        "places by the layers before it. It scores every channel of all of them, twice: thousands "
        "of passes.",
        _arxiv(
            "englebert2022polycam",
            "Englebert, Alexandre and Cornu, Olivier and De Vleeschouwer, Christophe",
            "Poly-CAM: High Resolution Class Activation Map for Convolutional Neural Networks",
            "2204.13359",
        ),
    ),
    "groupcam": Card(
        "Between Grad-CAM and Score-CAM: some thirty passes at any layer. Channels are joined by "
        "their number, so neighbours that tell of different things share a weight.",
        _arxiv(
            "zhang2021groupcam",
            "Zhang, Qinglong and Rao, Lu and Yang, Yubin",
            "Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional Networks",
            "2103.13859",
        ),
    ),
    "opticam": Card(
        "One mask, made of all channels at once, under which the score is as high as it gets. "
        "A hundred passes and more; it shows what suffices, not all that matters.",
        Reference(
            "zhang2024opticam",
            "Zhang, Hanwei and Torres, Felipe and Sicre, Ronan and Avrithis, Yannis and Ayache, "
            "Stephane",
            "Opti-CAM: Optimizing saliency maps for interpretability",
            "Computer Vision and Image Understanding (CVIU)",
            2024,
            "2301.07002",
            kind="article",
        ),
    ),
    "sscam": Card(
        "Score-CAM whose maps are too jagged: masks with noise, averaged. Many times as slow.",
        _arxiv(
            "wang2020sscam",
            "Wang, Haofan and Naidu, Rakshit and Michael, Joy and Kundu, Soumya Snigdha",
            "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization",
            "2006.14255",
        ),
    ),
    "iscam": Card(
        "Score-CAM that looks at faint masks too, from none of the image to all of it.",
        _arxiv(
            "naidu2020iscam",
            "Naidu, Rakshit and others",
            "IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
            "2010.03023",
        ),
    ),
    "ablationcam": Card(
        "Without gradients: each channel counts by how far the score falls without it. Only what "
        "follows the layer is run again, so late layers are quick.",
        Reference(
            "desai2020ablationcam",
            "Desai, Saurabh and Ramaswamy, Harish G.",
            "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free "
            "Localization",
            "IEEE Winter Conference on Applications of Computer Vision (WACV)",
            2020,
        ),
    ),
    "layerig": Card(
        "Where contributions of a layer's places have to add up, also through what is not linear "
        "behind it: to the score less that of a baseline of the layer. Only what follows the "
        "layer is run again.",
        _INTEGRATED_GRADIENTS,
    ),
    "dix": Card(
        "HiResCAM's evidence for the class alone, averaged over fainter versions of the layer, "
        "where its gradient at one point is noisy. Give the last few layers: their maps are "
        "multiplied, so a place counts where all agree.",
        Reference(
            "barkan2023dix",
            "Barkan, Oren and Elisha, Yehonathan and Weill, Jonathan and Asher, Yuval and Eshel, "
            "Amit and Koenigstein, Noam",
            "Deep Integrated Explanations",
            "Proceedings of the ACM International Conference on Information and Knowledge "
            "Management (CIKM)",
            2023,
            "2310.15368",
        ),
    ),
    "reciprocam": Card(
        "Without gradients: each position counts by the score that it gives alone. Quick at late "
        "layers, where positions are few; also for the patches of transformers. Scores, so faint "
        "differences on a high ground: recipe='authors' shows them from the lowest to the highest.",
        Reference(
            "byun2024reciprocam",
            "Byun, Seok-Yong and Lee, Wonju",
            "ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc Explanations",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR) Workshops",
            2024,
            "2209.14074",
        ),
    ),
    "occlusion": Card(
        "For any model whose score can be computed: what the score loses where the image is "
        "covered. As coarse as its window, and slow where the stride is small.",
        _ZEILER,
        "mean of y − y_blanked over the windows that cover a place",
    ),
    "rise": Card(
        "For any model whose score can be computed, where windows are too rigid: thousands of "
        "random masks. Maps keep some noise of the masks.",
        Reference(
            "petsiuk2018rise",
            "Petsiuk, Vitali and Das, Abir and Saenko, Kate",
            "RISE: Randomized Input Sampling for Explanation of Black-box Models",
            "British Machine Vision Conference (BMVC)",
            2018,
            "1806.07421",
        ),
    ),
    "sobol": Card(
        "For any model whose score can be computed, where cells act together: how much of the "
        "score's variance each has a part in. Without a sign, and as coarse as its grid.",
        Reference(
            "fel2021sobol",
            r"Fel, Thomas and Cad{\`e}ne, R{\'e}mi and Chalvidal, Mathieu and Cord, Matthieu and "
            "Vigouroux, David and Serre, Thomas",
            "Look at the Variance! Efficient Black-box Explanations with Sobol-based Sensitivity "
            "Analysis",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2021,
            "2111.04138",
        ),
    ),
    "hsic": Card(
        "For any model whose score can be computed: how far the score depends on each cell being "
        "there, with fewer passes than Sobol indices. Without a sign, and as coarse as its grid.",
        Reference(
            "novello2022hsic",
            "Novello, Paul and Fel, Thomas and Vigouroux, David",
            "Making Sense of Dependence: Efficient Black-box Explanations Using Dependence Measure",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2022,
            "2206.06219",
        ),
    ),
    "saliency": Card(
        "Which pixels the score is most sensitive to: fine and noisy, without a sign.",
        Reference(
            "simonyan2014deep",
            "Simonyan, Karen and Vedaldi, Andrea and Zisserman, Andrew",
            "Deep Inside Convolutional Networks: Visualising Image Classification Models and "
            "Saliency Maps",
            "International Conference on Learning Representations (ICLR) Workshops",
            2014,
            "1312.6034",
        ),
    ),
    "gradienttimesinput": Card(
        "What each pixel contributes, to first order. Black pixels contribute nothing, whatever "
        "they show: mind what the preprocessing makes zero.",
        _arxiv(
            "shrikumar2016not",
            "Shrikumar, Avanti and Greenside, Peyton and Shcherbina, Anna and Kundaje, Anshul",
            "Not Just a Black Box: Learning Important Features Through Propagating Activation "
            "Differences",
            "1605.01713",
        ),
    ),
    "smoothgrad": Card(
        "Saliency without most of its noise.",
        _arxiv(
            "smilkov2017smoothgrad",
            r"Smilkov, Daniel and Thorat, Nikhil and Kim, Been and Vi{\'e}gas, Fernanda and "
            "Wattenberg, Martin",
            "SmoothGrad: removing noise by adding noise",
            "1706.03825",
        ),
    ),
    "smoothgradsq": Card(
        "SmoothGrad that keeps where gradients are large but change their sign with the noise. "
        "Among gradients, of those that removing pixels and retraining speaks for.",
        Reference(
            "hooker2019benchmark",
            "Hooker, Sara and Erhan, Dumitru and Kindermans, Pieter-Jan and Kim, Been",
            "A Benchmark for Interpretability Methods in Deep Neural Networks",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2019,
            "1806.10758",
        ),
    ),
    "vargrad": Card(
        "Where the gradient changes most with noise. Zero where the score is linear, however "
        "much a pixel counts there.",
        Reference(
            "adebayo2018sanity",
            "Adebayo, Julius and Gilmer, Justin and Muelly, Michael and Goodfellow, Ian and Hardt, "
            "Moritz and Kim, Been",
            "Sanity Checks for Saliency Maps",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2018,
            "1810.03292",
        ),
    ),
    "integratedgradients": Card(
        "Where contributions of pixels have to add up: to the score less that of a baseline. What "
        "the baseline is, black or grey, decides what counts as absent.",
        _INTEGRATED_GRADIENTS,
    ),
    "idgi": Card(
        "Integrated gradients whose sum is exact with few steps, and that leave out what moves "
        "along the path without moving the score. It has the sign of the step, not of the pixel.",
        Reference(
            "yang2023idgi",
            "Yang, Ruo and Wang, Binghui and Bilgic, Mustafa",
            "IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR)",
            2023,
            "2303.14242",
        ),
    ),
    "gradientshap": Card(
        "Integrated gradients averaged over many baselines, such as images of a data set, where "
        "no single one stands for absence: expected gradients. Maps keep some noise of the draws.",
        Reference(
            "lundberg2017unified",
            "Lundberg, Scott M. and Lee, Su-In",
            "A Unified Approach to Interpreting Model Predictions",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2017,
            "1705.07874",
        ),
    ),
    "guidedig": Card(
        "Integrated gradients with less noise: the path keeps away from where gradients are steep "
        "for long. Its map depends on the steps more than the straight path's does.",
        Reference(
            "kapishnikov2021guided",
            "Kapishnikov, Andrei and Venugopalan, Subhashini and Avci, Besim and Wedin, Ben and "
            "Terry, Michael and Bolukbasi, Tolga",
            "Guided Integrated Gradients: An Adaptive Path Method for Removing Noise",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR)",
            2021,
            "2106.09788",
        ),
    ),
    "blurig": Card(
        "Integrated gradients without a baseline to choose: what is absent is what a blur takes "
        "away, fine structure first.",
        Reference(
            "xu2020attribution",
            "Xu, Shawn and Venugopalan, Subhashini and Sundararajan, Mukund",
            "Attribution in Scale and Space",
            "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition "
            "(CVPR)",
            2020,
            "2004.03383",
        ),
    ),
    "xrai": Card(
        "Whole regions in place of pixels, ordered by what integrated gradients find in them. Its "
        "regions are those of the image's edges, and need scikit-image.",
        Reference(
            "kapishnikov2019xrai",
            r"Kapishnikov, Andrei and Bolukbasi, Tolga and Vi{\'e}gas, Fernanda and Terry, Michael",
            "XRAI: Better Attributions Through Regions",
            "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            2019,
            "1906.02825",
        ),
    ),
    "guidedbackprop": Card(
        "Crisp edges of what a network of rectifiers responds to. It hardly depends on the class: "
        "not by itself an explanation of a decision.",
        Reference(
            "springenberg2015striving",
            "Springenberg, Jost Tobias and Dosovitskiy, Alexey and Brox, Thomas and Riedmiller, "
            "Martin",
            "Striving for Simplicity: The All Convolutional Net",
            "International Conference on Learning Representations (ICLR) Workshops",
            2015,
            "1412.6806",
        ),
    ),
    "deconvnet": Card(
        "What in the input a network of rectifiers can be inverted to. Unlike guided "
        "backpropagation it asks nothing of the rectifiers' inputs: edges of the whole image, "
        "hardly those of the class.",
        _ZEILER,
    ),
    "guidedgradcam": Card(
        "Fine edges within the region that Grad-CAM finds, for pictures. The edges are guided "
        "backpropagation's, with its limits.",
        _GRADCAM,
    ),
    "fullgrad": Card(
        "For the whole network rather than one layer: the input's contribution and that of every "
        "bias. Needs layers whose biases can be read, as those of CNNs.",
        Reference(
            "srinivas2019fullgrad",
            r"Srinivas, Suraj and Fleuret, Fran{\c{c}}ois",
            "Full-Gradient Representation for Neural Network Visualization",
            "Advances in Neural Information Processing Systems (NeurIPS)",
            2019,
            "1905.00780",
        ),
    ),
}
"""By the name of the method."""

QUESTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "What at a layer speaks for a class, by gradients there?": (
        *("cam", "gradcam", "gradcampp", "xgradcam", "hirescam", "elementwisegradcam", "layercam"),
        *("segxrescam", "finercam", "counterfactual", "refinecam", "eigengradcam", "segeigencam"),
        *("shapleycam", "smoothgradcampp", "layerig", "dix"),
    ),
    "What at a layer raises the score, or lowers it where it is missing?": (
        *("scorecam", "fasterscorecam", "gscorecam", "sscam", "iscam", "groupcam", "opticam"),
        *("polycam", "ablationcam", "reciprocam"),
    ),
    "What does a layer respond to, whatever the class?": (
        *("eigencam", "kpcacam", "fem", "activations"),
    ),
    "What are a transformer's tokens, or a model's words, made of?": (
        *("legrad", "relevancy", "rollout", "tokencam"),
    ),
    "Which parts of the input does the score need?": ("occlusion", "rise", "sobol", "hsic"),
    "What is each pixel worth to the score?": (
        *("saliency", "gradienttimesinput", "smoothgrad", "smoothgradsq", "vargrad"),
        *("integratedgradients", "idgi", "gradientshap", "guidedig", "blurig", "xrai", "fullgrad"),
        *("guidedbackprop", "deconvnet", "guidedgradcam"),
    ),
    "What does a map look like that knows nothing?": ("random",),
}
"""What methods answer, and their names."""

_NEEDS: Final[Mapping[str, str]] = {
    "activations": "the layer's output",
    "gradients": "the score's gradient at the layer",
    "attention_gradients": "the score's gradient at the attention",
    "own_gradients": "the gradient of each block's own score where that is asked for",
    "attentions": "the attention of all layers",
    "attentions_gradients": "the score's gradient at each layer's attention",
    "pooling": "which tokens the head reads",
    "token_logits": "token-wise logits of a language model at its image tokens",
    "layers_activations": "what layers of every size return",
    "class_weights": "the weights of a linear head",
    "mean_weights": "what the score gains by each channel's mean, where a linear head says",
    "scores": "the score",
    "images": "the input",
    "image_gradients": "the score's gradient at the input",
    "guided_gradients": "the guided gradient at the input, through rectifiers that are layers",
    "deconvolved_gradients": "the deconvolved gradient at the input, through rectifiers",
    "hessian_products": "a second derivative behind the layer",
    "bias_terms": "what each layer's bias adds",
    "score_images": "scores of altered inputs",
    "resume": "the model run on from the layer",
    "gradients_from": "the score's gradient at altered outputs of the layer",
    "rerun": "the layer's output and gradient at altered inputs",
    "gradients_at": "the gradient at altered inputs",
}
"""In words, by the names in `camcore.methods.table.NEEDS`."""


def formula(method: Method) -> str:
    """Write a method's formula, without the method's name before it."""
    card = CARDS.get(method.name)
    if card is not None and card.formula:
        return card.formula
    said = description(method.function)
    name, colon, rest = said.partition(": ")
    return rest if colon and name.casefold() in _names(method) else said


def _names(method: Method) -> set[str]:
    """List what a docstring may call a method."""
    return {one.casefold() for one in (method.label, method.label.replace(" x ", " × "))}


def needed(method: Method) -> list[str]:
    """List in words what a method needs."""
    return [_NEEDS.get(need, need.replace("_", " ")) for need in method.needs]


def cost(method: Method) -> str:
    """Say what a method costs, in words."""
    if method.passes == "1":
        return "one forward pass and one backward" if method.backward else "one forward pass"
    return f"{method.passes.replace(' x ', ' × ')}, in forward passes"
