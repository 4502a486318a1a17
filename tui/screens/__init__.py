"""The main screen, and the boxes that open over it. Each is given functions instead of a server.

chat      inbox, conversation and assist pane: `ChatScreen`
layout    which panes a width has room for: `visible_panes`
base      what the boxes share: `BoxScreen`
finder    a list narrowed by typing: `FinderScreen`
page      a text to read, copy and save: `PageScreen`
article   a cited section or its whole article: `ArticleScreen`
reject    why a draft is wrong, and the right answer: `RejectScreen`
wrap      satisfaction, tags, note, close: `WrapScreen`
help      the key table: `HelpScreen`
"""
