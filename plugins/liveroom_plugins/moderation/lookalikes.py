"""Letters of other scripts that pass for Latin ones: a compact table after UTS 39 (pure data).

Only what neither NFKD nor the removal of marks brings to ASCII stands here. A letter takes the value
of its capital's shape in both cases (Cyrillic в as В), so that a word folds alike in either; where the
small letter has a shape of its own, that one stands under another key (Greek ν is v, Ν is n).
"""

from __future__ import annotations


__all__ = ["LOOKALIKES"]

_LETTERS = {
    "a": "ɑΑαАаᎪᗅꓮꭺᴀ⍺𐊠𖽀",
    "b": "ƄƅΒβВЬвьᏏᏴᏼᑲᖯᗷꓐꞴꞵꮟʙƀɓ𐊂𐊡𐌁",
    "c": "ϹϲСсᏟᴄⲤⲥꓚꮯƈ𐊢𐌂𐐕𐐽𐔜",
    "d": "ԁᎠᏧᑯᗞᗪꓒꓓꭰꮷᴅđɖɗ",
    "e": "ΕεЕеҽᎬⴹꓰꬲꭼᴇɇ℮⋿𐊆𑢦𑢮𑣆𑣎",
    "f": "ϜϝքᖴẝꓝꞘꞙꬵꜰƒ𐊇𐊥𐔥𑢢𑣂",
    "g": "ƍɡԌԍցᏀᏳᏻᶃꓖꮐɢɠ",
    "h": "ΗηНнһհᎻᏂᕼⲎⲏꓧꮋꮒʜħ𐋏",
    "i": "ıɩɪΙιІіӀӏᎥꙇꭵɨ⍳𑣃",
    "j": "ʝͿϳЈјᎫᒍꓙꞲꭻᴊɉ",
    "k": "ΚκКкᏦᛕⲔⲕꓗꮶᴋƙ𐔘",
    "l": "ƖǀᏞᒪᛁⲒⲓⳐⳑⵏꓡꓲꮮʟłƚ𐊊𐌉𐐛𐑃𐔦𑢣𑢲𑣒𖼖𖼨",
    "m": "ΜμϺϻМмᎷᗰᛖⲘⲙꓟꮇᴍɱ𐊰𐌑",
    "n": "ΝոռⲚⲛꓠɴɲƞ𐔓",
    "o": "ΟοσОоՕօଠഠဝჿዐᴏᴑⲞⲟⵔꓳꬽøɵ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑢵𑣈𑣕𑣗",
    "p": "ΡρРрᏢᑭⲢⲣꓑꮲᴘƥ⍴𐊕",
    "q": "ԛգզⵕǫʠ",
    "r": "ƦʀгᎡᏒᖇᴦⲅꓣꭇꭈꭱꮁꮢɍ𐒴𐓜𖼵",
    "s": "ƽЅѕՏտᏕᏚꓢꜱꮥꮪ𐊖𐐠𐑈𑣁𖼺",
    "t": "ΤτТтᎢⲦⲧꓔꭲᴛŧƭ⊤⟙𐊗𐊱𐌕𑢼𖼊",
    "u": "ʋυՍսሀᑌᴜꓴꞟꭎꭒʉ∪⋃𐓎𐓶𑢸𑣘𖽂",
    "v": "νѴѵᏙᐯᴠⴸꓦꛟꮩ∨⋁𐔝𑜆𑢠𑣀𖼈",
    "w": "ɯѡԜԝաᎳᏔᴡꓪꮃꮤ𑜊𑜎𑜏",
    "x": "×ΧχХхᕁᕽᚷⲬⲭⵝꓫꞳꭓ╳᙭᙮⤫⤬⨯𐊐𐊴𐌗𐔧",
    "y": "ɣʏΥγУуҮүყᎩᎽᶌỿⲨⲩꓬꭚꭹꮍɏ𐊲𑢤𑣜𖽃",
    "z": "ΖζᏃᴢꓜꮓƶ𑢩𑣄𑣉",
    # Katakana that pass for characters.
    "口": "ロ",
    "力": "カ",
    "工": "エ",
    "二": "ニ",
    "夕": "タ",
    "卜": "ト",
}
_ALPHABETS = (0x1F150, 0x1F170, 0x1F1E6)
"""Where letters in black circles, black squares and of flags begin; NFKD leaves them alone."""


def _table() -> dict[str, str]:
    table = {look: letter for letter, looks in _LETTERS.items() for look in looks}
    for first in _ALPHABETS:
        table |= {chr(first + n): chr(ord("a") + n) for n in range(26)}
    return table


LOOKALIKES = _table()
