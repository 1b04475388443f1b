"""What viewers say (pure)."""

from __future__ import annotations


__all__ = ["PHRASES"]

PHRASES = (
    "主播今天气色真好", "666666", "这个颜色有货吗", "已下单，坐等发货", "哈哈哈哈哈哈",
    "What size should I take at 175 cm?", "links in the shelf please", "多少钱一件？包邮吗",
    "来了来了", "lol", "第一次来，点个关注", "这件和昨天那件有什么区别", "求返场！！！",
    "Love this one, does it come in black?", "老粉报到", "主播看看我", "买过，质量很好，推荐",
)  # fmt: skip
