"""Container images of AWS that the pipeline uses, by region.

The accounts are facts of AWS, as the sagemaker SDK 3.27 lists them (image_uri_config/*.json).
"""

BUILT_IN_ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "501404015308",
    "ap-northeast-2": "306986355934",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "544295431143",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "469771592824",
    "ca-west-1": "190319476487",
    "cn-north-1": "390948362332",
    "cn-northwest-1": "387376663083",
    "eu-central-1": "813361260812",
    "eu-central-2": "680994064768",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-south-2": "104374241257",
    "eu-west-1": "685385470294",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "811284229777",
    "us-east-2": "825641698319",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700",
    "us-iso-east-1": "490574956308",
    "us-isob-east-1": "765400339828",
    "us-isof-east-1": "108575199400",
    "us-isof-south-1": "124985052026",
    "us-west-1": "632365934929",
    "us-west-2": "433757028032",
}
# AWS Deep Learning Containers: one account for most regions.
DEEP_LEARNING_ACCOUNT = "763104351884"
DEEP_LEARNING_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
    "us-iso-east-1": "886529160074",
    "us-isob-east-1": "094389454867",
    "us-isof-east-1": "303241398832",
    "us-isof-south-1": "454834333376",
}
# It has Pillow and numpy, which is all that preprocess.py needs; SageMaker's scikit-learn images have no Pillow.
PROCESSING_TAG = "2.9.0-cpu-py312"
_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
}


def built_in_image(region: str) -> str:
    """The built-in semantic-segmentation algorithm in *region*.

    Raises:
        ValueError: AWS does not offer it there.
    """
    if region not in BUILT_IN_ACCOUNTS:
        raise ValueError(
            f"SageMaker's built-in semantic-segmentation is not offered in {region!r}; name another region, "
            "or train with segmenter (--algorithm segmenter --image ADDRESS)"
        )
    return f"{registry(BUILT_IN_ACCOUNTS[region], region)}/semantic-segmentation:1"


def processing_image(region: str) -> str:
    """The image that preprocess.py runs in."""
    account = DEEP_LEARNING_ACCOUNTS.get(region, DEEP_LEARNING_ACCOUNT)
    return f"{registry(account, region)}/pytorch-training:{PROCESSING_TAG}"


def registry(account: str, region: str) -> str:
    """The host name of an account's ECR."""
    domain = next((suffix for prefix, suffix in _SUFFIXES.items() if region.startswith(prefix)), "amazonaws.com")
    return f"{account}.dkr.ecr.{region}.{domain}"
