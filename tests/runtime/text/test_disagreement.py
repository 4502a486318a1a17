"""Articles that say the same with other figures are found; two cases with a figure each are not taken for one."""

from __future__ import annotations

import pytest

from runtime.text.articles import Section, load_articles
from runtime.text.disagreement import find_dispute
from tests.support.paths import SHOP


def section(text: str, title: str = "Returns", lang: str = "en", article: str = "a") -> Section:
    return Section(article, "s", title, "", text, lang)


@pytest.mark.parametrize(
    ("lang", "title", "here", "there"),
    [
        ("en", "Returns", "You can return items within 30 days.", "You can return items within 14 days of delivery."),
        ("en", "Delivery", "Hi. Delivery of small parcels costs €4.90.", "Delivery of small parcels costs €49."),
        ("en", "Delivery", "- Delivery of parcels costs €4.90\n", "Please note: delivery of parcels costs €9.90 now."),
        (
            "en",
            "Returns",
            "Return it within 30 days, repairs take 5 days.",
            "Return it within 92 days, repairs take 5 days.",
        ),
        ("zh", "退货", "收到商品后30天内可以退货。", "收到商品后7天内可以退货。"),
        ("zh", "送货", "小件包裹的送货费是4.9欧元。", "请注意：小件包裹的送货费是49欧元。"),
    ],
)
def test_articles_that_give_other_figures_for_the_same_disagree(lang: str, title: str, here: str, there: str) -> None:
    left, right = section(here, title, lang), section(there, title, lang, "b")
    found = find_dispute(left, right)
    assert found is not None
    assert found.here in here.replace("- ", "")
    assert find_dispute(right, left) is not None
    assert find_dispute(left, left) is None


@pytest.mark.parametrize(
    ("lang", "here", "there"),
    [
        ("en", "You can return items within 30 days.", "You can return items within thirty days."),
        ("en", "You can return items within 30 days.", "We repair washing machines within 14 days at your home."),
        ("en", "The heater EL-4 costs €49 in our shops.", "The heater EL-5 costs €59 in our shops."),
        ("en", "The heater costs €49 in our shops.", "The heater has a cable of 2 m in our shops, 30 days of use."),
        (
            "en",
            "Return it within 30 days of delivery.",
            "Return it within 30 days of delivery, members within 60 days.",
        ),
        ("en", "It takes 5 days.", "Nothing here has a figure."),
        ("zh", "收到商品后30天内可以退货。", "收到商品后三十天内可以退货。"),
        ("zh", "收到商品后30天内可以退货。", "洗衣机在14天内上门维修，费用另算。"),
    ],
)
def test_equal_figures_and_other_matters_are_no_dispute(lang: str, here: str, there: str) -> None:
    assert find_dispute(section(here, lang=lang), section(there, lang=lang, article="b")) is None


def test_sections_of_two_languages_are_not_compared() -> None:
    assert find_dispute(section("return within 30 days please", lang="en"), section("within 7 days", lang="zh")) is None


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_example_shops_articles_hardly_disagree(lang: str) -> None:
    sections = [one for article in load_articles(SHOP / lang / "articles") for one in article.sections]
    disputed = {
        one.ref
        for number, here in enumerate(sections)
        for there in sections[number + 1 :]
        if here.article != there.article and find_dispute(here, there)
        for one in (here, there)
    }
    assert len(disputed) <= 0.03 * len(sections), disputed
