"""Realistic reminders with what a sensible person would make of each, and nothing of how it is done.

All are written on Monday 23 November 2026 at 10:20 in New York. The expected values are judged by hand: the words
for the due time are left out of the text once the due time says it, since 'tomorrow' is wrong when it is read.
"""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 23, 10, 20, tzinfo=ZONE)


class Row(NamedTuple):
    """One reminder: its text, what is expected, and, where it is known to be missed, how and why."""

    text: str
    suggested: str
    priority: str
    due: str | None  # local wall-clock time
    missed: str = ""


TUNED_ON = [
    # clock times and parts of the day
    Row("remind me to call mom tomorrow at 2pm", "Call mom", "medium", "2026-11-24 14:00"),
    Row("review PR 4512 tonight", "Review PR 4512", "medium", "2026-11-23 20:00"),
    Row("team lunch at noon", "Team lunch", "medium", "2026-11-23 12:00"),
    Row("please don't forget to water the plants this evening", "Water the plants", "medium", "2026-11-23 18:00"),
    Row("meeting in room 12 at 5", "Meeting in room 12", "medium", "2026-11-23 17:00"),
    Row("standup half past nine tomorrow", "Standup", "medium", "2026-11-24 09:30"),
    Row("coffee with Leo 5ish", "Coffee with Leo", "medium", "2026-11-23 17:00"),
    Row("pick up kids at 3:15", "Pick up kids", "medium", "2026-11-23 15:15"),
    Row("gym tomorrow morning", "Gym", "medium", "2026-11-24 09:00"),
    Row("gym tomorrow morning at 6", "Gym", "medium", "2026-11-24 06:00"),
    Row("uh call uh the plumber at 8 am", "Call the plumber", "medium", "2026-11-24 08:00"),
    Row("at 10:45 join the call", "Join the call", "medium", "2026-11-23 10:45"),
    Row("feed the cat at quarter to six", "Feed the cat", "medium", "2026-11-23 17:45"),
    Row("call London office at 5pm GMT", "Call London office", "medium", "2026-11-23 12:00"),
    Row("stop by the shop at lunchtime", "Stop by the shop", "medium", "2026-11-23 12:00"),
    Row("tidy up later today", "Tidy up", "medium", "2026-11-23 17:00"),
    Row("dinner tomorrow at 7", "Dinner", "medium", "2026-11-24 19:00"),
    Row("meeting with Sam tomorrow 2-3pm", "Meeting with Sam 2-3pm", "medium", "2026-11-24 14:00"),
    Row(
        "call the clinic this afternoon between 2 and 4",
        "Call the clinic between 2 and 4",
        "medium",
        "2026-11-23 14:00",
    ),
    Row("EOD send timesheet", "Send timesheet", "medium", "2026-11-23 17:00"),
    Row("Call +1 555 0134 at 4", "Call +1 555 0134", "medium", "2026-11-23 16:00"),
    Row(
        "I need to email Sarah w/ the Q1 numbers before 9am",
        "Email Sarah with the Q1 numbers",
        "medium",
        "2026-11-24 09:00",
    ),
    Row("set a reminder for 7pm to take out the trash", "Take out the trash", "medium", "2026-11-23 19:00"),
    # so long from now
    Row("take the pasta off the stove in 20 minutes", "Take the pasta off the stove", "medium", "2026-11-23 10:40"),
    Row("stretch in an hour and a half", "Stretch", "medium", "2026-11-23 11:50"),
    Row("call John in 3 hours", "Call John", "medium", "2026-11-23 13:20"),
    Row("follow up with Priya in 3 days", "Follow up with Priya", "medium", "2026-11-26 09:00"),
    Row("in 2 weeks check the visa status", "Check the visa status", "medium", "2026-12-07 09:00"),
    Row("turn off the oven in half an hour!!", "Turn off the oven", "high", "2026-11-23 10:50"),
    Row("two weeks from friday renew the lease", "Renew the lease", "medium", "2026-12-11 09:00"),
    # weekdays, weeks and months
    Row("submit the report end of day friday", "Submit the report", "medium", "2026-11-27 17:00"),
    Row("finish slides by friday", "Finish slides", "medium", "2026-11-27 09:00"),
    Row("renew passport next month", "Renew passport", "medium", "2026-12-01 09:00"),
    Row("plan the offsite next week", "Plan the offsite", "medium", "2026-11-30 09:00"),
    Row("maybe clean the garage this weekend", "Clean the garage", "low", "2026-11-28 09:00"),
    Row("next friday review with Sam", "Review with Sam", "medium", "2026-12-04 09:00"),
    Row("monday next week 10am sync with Kim", "Sync with Kim", "medium", "2026-11-30 10:00"),
    Row("reminder: passport photos day after tomorrow", "Passport photos", "medium", "2026-11-25 09:00"),
    Row("call grandma sun", "Call grandma", "medium", "2026-11-29 09:00"),
    Row("end of month: close the books", "Close the books", "medium", "2026-11-30 17:00"),
    Row("please book the car for saturday thanks", "Book the car", "medium", "2026-11-28 09:00"),
    Row("buy tickets in march", "Buy tickets", "medium", "2027-03-01 09:00"),
    Row("water the plants every monday at 8am", "Water the plants every Monday", "medium", "2026-11-30 08:00"),
    Row("take pills every day at 9pm", "Take pills every day", "medium", "2026-11-23 21:00"),
    Row("tomorrow: send invoice to ACME", "Send invoice to ACME", "medium", "2026-11-24 09:00"),
    Row("do it tomorrow", "Do it", "medium", "2026-11-24 09:00"),
    Row("tomorrow at 5pm", "Reminder", "medium", "2026-11-24 17:00"),
    # dates
    Row("dentist 3 december at 14:30", "Dentist", "medium", "2026-12-03 14:30"),
    Row("Dec 3 dinner with Anna", "Dinner with Anna", "medium", "2026-12-03 09:00"),
    Row("order gifts by 12/24", "Order gifts", "medium", "2026-12-24 09:00"),
    Row("pay rent on the 1st", "Pay rent", "medium", "2026-12-01 09:00"),
    Row("2026-12-03 board meeting", "Board meeting", "medium", "2026-12-03 09:00"),
    Row("flight 2026-12-03T17:45", "Flight", "medium", "2026-12-03 17:45"),
    Row("i gotta return library books by the 15th", "Return library books", "medium", "2026-12-15 09:00"),
    Row("wish Jan a happy birthday on jan 5", "Wish Jan a happy birthday", "medium", "2027-01-05 09:00"),
    Row(
        "mom's birthday is on 5 may, buy a gift",
        "Mom's birthday is on 5 May, buy a gift",
        "medium",
        "2027-05-05 09:00",
    ),
    # past or impossible: the words are details, and no part of them is a due time
    Row("call mum yesterday at 2pm", "Call mum yesterday at 2pm", "medium", None),
    Row("30 february at 5pm pay", "30 February at 5pm pay", "medium", None),
    Row("call mum tomorrow at 25:99", "Call mum tomorrow at 25:99", "medium", None),
    Row("email Bob about meeting last friday 3pm", "Email Bob about meeting last Friday 3pm", "medium", None),
    Row("reply to the mail I got 3 days ago at 5pm", "Reply to the mail I got 3 days ago at 5pm", "medium", None),
    Row(
        "call Bob about yesterday's meeting tomorrow at 9",
        "Call Bob about yesterday's meeting",
        "medium",
        "2026-11-24 09:00",
    ),
    Row("send the report from last week by friday 5pm", "Send the report from last week", "medium", "2026-11-27 17:00"),
    # The date is part of the report's name, and does not stand beside the time: that one is when to review it.
    Row("review 2020-01-01 report at 5pm", "Review 2020-01-01 report", "medium", "2026-11-23 17:00"),
    # priority
    Row("URGENT: pay the electricity bill", "Pay the electricity bill", "high", None),
    Row("call the bank asap", "Call the bank", "high", None),
    Row("critical!!! server cert expires friday 5pm", "Server cert expires", "high", "2026-11-27 17:00"),
    Row("it's important to back up the laptop tonight", "Back up the laptop", "high", "2026-11-23 20:00"),
    Row(
        "no rush but look at the new laptops when you get a chance",
        "Look at the new laptops",
        "low",
        None,
    ),
    Row("low priority: sort old photos sometime", "Sort old photos", "low", None),
    Row("not urgent: read the design doc", "Read the design doc", "low", None),
    # what is no due time, and details that are kept
    Row("buy milk", "Buy milk", "medium", None),
    Row("hey can you remind me to pick up 2 eggs", "Pick up 2 eggs", "medium", None),
    Row("upgrade to version 3.5", "Upgrade to version 3.5", "medium", None),
    Row("pay Tom $5 tomorrow", "Pay Tom $5", "medium", "2026-11-24 09:00"),
    Row("I may need to march with Tom", "I may need to march with Tom", "medium", None),
    Row('send "see you tomorrow at 5" to Ann', 'Send "see you tomorrow at 5" to Ann', "medium", None),
    Row(
        "email bob@example.com re invoice 2231 on thursday",
        "Email bob@example.com about invoice 2231",
        "medium",
        "2026-11-26 09:00",
    ),
    Row(
        "check https://example.com/2026-11-27 tonight",
        "Check https://example.com/2026-11-27",
        "medium",
        "2026-11-23 20:00",
    ),
    Row("reply to Tom's email from yesterday", "Reply to Tom's email from yesterday", "medium", None),
    Row("prepare slides for the 3pm meeting", "Prepare slides for the 3pm meeting", "medium", "2026-11-23 15:00"),
    Row("buy sun cream", "Buy sun cream", "medium", None),
    Row("the cat sat on the mat, clean it", "The cat sat on the mat, clean it", "medium", None),
    Row("visit the 3rd floor", "Visit the 3rd floor", "medium", None),
    Row("send card to April", "Send card to April", "medium", None),
    Row("open 24/7 support ticket", "Open 24/7 support ticket", "medium", None),
    Row("add 1/2 cup of sugar to the list", "Add 1/2 cup of sugar to the list", "medium", None),
]

# Written after the rules were, and before these were tried on them.
HELD_OUT = [
    Row("Pick up dry cleaning Thursday after work", "Pick up dry cleaning", "medium", "2026-11-26 18:00"),
    Row("remind me in 45 min to move the car", "Move the car", "medium", "2026-11-23 11:05"),
    Row("dont forget mums birthday on the 9th", "Mums birthday", "medium", "2026-12-09 09:00"),
    Row("send Q4 forecast to Elena by EOD tomorrow", "Send Q4 forecast to Elena", "medium", "2026-11-24 17:00"),
    Row("Renew domain example.org before Dec 15", "Renew domain example.org", "medium", "2026-12-15 09:00"),
    Row("call the vet tmrw 9:30am", "Call the vet", "medium", "2026-11-24 09:30"),
    Row(
        "need to pay invoice #3312, $1,250, by next Tuesday", "Pay invoice #3312, $1,250", "medium", "2026-12-01 09:00"
    ),
    Row("flight to Berlin on 14 Jan 2027 at 06:40", "Flight to Berlin", "medium", "2027-01-14 06:40"),
    Row("Could you please remind me to stretch every hour", "Stretch every hour", "medium", "2026-11-23 11:20"),
    Row("asap fix the login bug in release 2.4.1", "Fix the login bug in release 2.4.1", "high", None),
    Row("when you have time, look into the flaky test", "Look into the flaky test", "low", None),
    Row(
        "standup moved to 9:15 on wednesday",
        "Standup moved",
        "medium",
        "2026-11-25 09:15",
        "'to' would be left hanging: the whole phrase stays",
    ),
    Row("Lunch with Maya at 1 tomorrow at Cafe 21", "Lunch with Maya at Cafe 21", "medium", "2026-11-24 13:00"),
    Row("put the bins out tonight at 9", "Put the bins out", "medium", "2026-11-23 21:00"),
    Row("book train tickets for 22 december", "Book train tickets", "medium", "2026-12-22 09:00"),
    Row("gas meter reading last day of the month", "Gas meter reading", "medium", "2026-11-30 09:00"),
    Row("car service 2027-02-08 8am", "Car service", "medium", "2027-02-08 08:00"),
    Row("take 2 pills after dinner", "Take 2 pills", "medium", "2026-11-23 20:00"),
    Row(
        "ping Raj re: server migration in a couple of hours",
        "Ping Raj about server migration",
        "medium",
        "2026-11-23 12:20",
    ),
    Row(
        "March budget review with Dana monday at 11",
        "March budget review with Dana",
        "medium",
        "2026-11-30 11:00",
        "a weekday named on that very day is taken for today while the time is ahead",
    ),
    Row(
        "submit tax form, deadline is 31 January",
        "Submit tax form, deadline is 31 January",
        "high",
        "2027-01-31 09:00",
        "'deadline' alone is not taken as urgent",
    ),
    Row("I should probably clean the fridge at some point", "Clean the fridge", "low", None),
    Row("meeting with Dr. Lee on Nov 30th at 4:45 p.m.", "Meeting with Dr. Lee", "medium", "2026-11-30 16:45"),
    Row(
        "buy 6 eggs and 2 l milk on the way home this evening",
        "Buy 6 eggs and 2 l milk on the way home",
        "medium",
        "2026-11-23 18:00",
    ),
    Row("cancel gym membership within 10 days", "Cancel gym membership", "medium", "2026-12-03 09:00"),
    Row("watch S2E5 sunday night", "Watch S2E5", "medium", "2026-11-29 20:00"),
    Row("check oven at quarter past 6", "Check oven", "medium", "2026-11-23 18:15"),
    Row("Tell April the May report is late", "Tell April the May report is late", "medium", None),
    Row("very important!! sign the lease by 5pm today", "Sign the lease", "high", "2026-11-23 17:00"),
    Row("3pm dentist", "Dentist", "medium", "2026-11-23 15:00"),
    Row("hey, tomorrow noon, lunch w/ the team", "Lunch with the team", "medium", "2026-11-24 12:00"),
    Row("email HR about vacation 12-16 january", "Email HR about vacation 12-16 January", "medium", None),
    Row("ask for a second opinion on monday", "Ask for a second opinion", "medium", "2026-11-30 09:00"),
    Row("read chapter 3 and 4 by sunday evening", "Read chapter 3 and 4", "medium", "2026-11-29 18:00"),
    Row("drop kids at school 8:15 tomorrow", "Drop kids at school", "medium", "2026-11-24 08:15"),
    Row("call 020 7946 0958 at half past two", "Call 020 7946 0958", "medium", "2026-11-23 14:30"),
    Row(
        "get cash for the 10am cleaner on friday",
        "Get cash for the 10am cleaner",
        "medium",
        "2026-11-27 10:00",
        "two times that belong together, apart from each other",
    ),
    Row("Start 30 day trial next month", "Start 30 day trial", "medium", "2026-12-01 09:00"),
    Row(
        "remind Kim to send the deck tomorrow first thing", "Remind Kim to send the deck", "medium", "2026-11-24 09:00"
    ),
    Row("fix typo on page 12 of the handbook", "Fix typo on page 12 of the handbook", "medium", None),
    Row(
        "uhh what was it, oh yeah call grandma at 7 this evening",
        "Call grandma",
        "medium",
        "2026-11-23 19:00",
        "chatter it does not know",
    ),
    Row("top priority: restart db-03 at 22:00", "Restart db-03", "high", "2026-11-23 22:00"),
    Row("rent due on the 1st of every month", "Rent due on the 1st of every month", "medium", "2026-12-01 09:00"),
]
